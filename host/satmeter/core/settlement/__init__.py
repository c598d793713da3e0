"""How an amount due becomes credit: by Lightning invoices, or by updates of a growing on-chain transaction."""
