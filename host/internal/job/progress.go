package job

// Progress is how far an attempt says it is.
type Progress struct {
	Done, Total float64 // Total 0: nobody knows
	Message     string
}
