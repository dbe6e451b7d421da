package verify

// Check checks a release that need not be on a disk.
var Check = check
