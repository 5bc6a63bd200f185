package postgres

// History lists the switches that led to a timeline, oldest first (PostgreSQL documentation, "Timelines").
type History []Switch

// Switch is one line of a history file: Parent was left at LSN.
type Switch struct {
	Parent Timeline
	LSN    LSN
	Reason string
}
