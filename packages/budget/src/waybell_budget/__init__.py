"""A pool of money and tokens that concurrent calls cannot overspend."""
