"""What keeps an index over the years: backups, and giving back disk space."""
