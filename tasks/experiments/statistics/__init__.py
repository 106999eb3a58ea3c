"""Statistics on sufficient statistics: pure functions that never see a row of data."""
