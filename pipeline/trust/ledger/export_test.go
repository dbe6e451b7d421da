package ledger

// TryLock and Lock are tested by themselves.
var (
	TryLock = tryLock
	Lock    = lock
)
