package conformance

import "slices"

// What most cases come after.
const (
	afterLine     = "handshake-line"   // the plugin starts at all
	afterDescribe = "describe-answers" // it says what it is
	afterEnd      = "events-end"       // a job comes to its end
	afterCancel   = "cancel-graceful"  // a job can be stopped
)

// cases returns all cases, by group.
func cases() []testCase {
	return slices.Concat(
		in("handshake", handshakeCases()),
		in("describe", describeCases()),
		in("settings", settingsCases(), afterDescribe),
		in("events", eventCases(), afterDescribe),
		in("cancel", cancelCases(), afterDescribe),
		in("data", dataCases(), afterDescribe),
		in("loss", lossCases(), afterDescribe),
		in("resume", resumeCases(), afterDescribe),
		in("drain", drainCases(), afterDescribe),
		in("secrets", secretCases(), afterDescribe),
		in("leaks", leakCases(), afterDescribe),
		in("garbage", garbageCases(), afterDescribe),
	)
}

// in puts cases into a group, in which all come after some others. Those name
// themselves what comes before them besides.
func in(group string, cases []testCase, after ...string) []testCase {
	for i := range cases {
		cases[i].group = group
		for _, id := range after {
			if cases[i].id != id {
				cases[i].after = append(cases[i].after, id)
			}
		}
	}
	return cases
}
