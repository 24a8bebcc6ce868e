"""Native objects: their lifetimes, and the lock for those that share memory."""
