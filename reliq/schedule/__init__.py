"""When things are due: instants, and later cron, triggers and the ticker."""
