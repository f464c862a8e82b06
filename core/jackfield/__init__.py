"""Call any function that any installed package advertises, by name."""
