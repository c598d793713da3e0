"""The buyer: what a node that buys does with terms, invoices, outcomes of payments and the passing of time."""
