"""Files written whole or not at all, one process at a time, with room on the disk."""
