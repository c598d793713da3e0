"""What crosses a boundary, as bytes: `link` between host and board, `peer` between buyer and seller. No I/O."""
