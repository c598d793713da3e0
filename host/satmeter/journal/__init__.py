"""The journal's database, its compaction, and its backup."""
