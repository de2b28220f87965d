"""Figures -> one HTML page that needs nothing else: no network, no library, and no script but one for images."""
