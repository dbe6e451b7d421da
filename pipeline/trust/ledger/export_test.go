package ledger

// Lock is tested by itself.
var Lock = lock
