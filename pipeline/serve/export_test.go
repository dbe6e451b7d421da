package serve

// ReadChart and Limit are tested by themselves.
var (
	ReadChart = readChart
	Limit     = limit
	HumanSize = humanSize
)
