"""Between the domain and the database: locations, rows written and rows read back."""
