package job

// Progress is how far an attempt says it is.
type Progress struct {
	Done, Total float64 // Total 0: nobody knows
	Message     string
}

// Report is what a running attempt has said of itself so far.
type Report struct {
	Progress *Progress `json:"progress,omitempty"` // nil: nothing
	Outputs  []Output  `json:"outputs,omitempty"`
}
