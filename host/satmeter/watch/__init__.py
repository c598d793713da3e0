"""What an operator watches: figures for Prometheus, and what is wrong with a node that sells or buys."""
