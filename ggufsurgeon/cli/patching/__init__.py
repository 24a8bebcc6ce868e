"""Commands that plan, write, restore and recover patched files."""
