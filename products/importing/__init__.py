"""Products and categories from files; `catalogue` and `categories` begin here."""
