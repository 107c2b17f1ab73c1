"""Credentials and addresses: who we are at the vendor, where the lake is, whom we tell."""
