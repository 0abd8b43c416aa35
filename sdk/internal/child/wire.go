package child

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Both sides are the same binary, so what goes over the socket needs no version:
// a plan, then orders of one byte each; back come a report when the program has
// started or could not, and one when the tree has ended.

const (
	orderTerminate = 't'
	orderKill      = 'k'

	kindStarted = 's' // Value is the pid
	kindRefused = 'r' // Value is the errno of Stage
	kindEnded   = 'e' // Value is the wait status

	stageReaper = 1
	stageLimits = 2
	stageDir    = 3
	stageExec   = 4
)

// plan is what a supervisor has to run.
type plan struct {
	Path, Dir string
	Limits    Limits
	Args, Env []string
}

// encode makes a message: its length, then fields ended by NUL, which no
// argument of a program can hold.
func (p plan) encode() ([]byte, error) {
	cpu := (p.Limits.CPU + time.Second - 1) / time.Second
	fields := []string{
		p.Path, p.Dir,
		strconv.FormatInt(p.Limits.OpenFiles, 10), strconv.FormatInt(int64(cpu), 10), strconv.FormatInt(p.Limits.CoreBytes, 10),
		strconv.Itoa(len(p.Args)),
	}
	fields = append(append(fields, p.Args...), p.Env...)
	message := make([]byte, 4)
	for _, field := range fields {
		if strings.Contains(field, "\x00") {
			return nil, fmt.Errorf("%q holds a NUL byte, which no argument, variable or path can", field)
		}
		message = append(append(message, field...), 0)
	}
	binary.LittleEndian.PutUint32(message, uint32(len(message)-4))
	return message, nil
}

// readPlan reads what encode made.
func readPlan(r io.Reader) (plan, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return plan{}, err
	}
	body := make([]byte, binary.LittleEndian.Uint32(size[:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return plan{}, err
	}
	fields := strings.Split(string(bytes.TrimSuffix(body, []byte{0})), "\x00")
	if len(fields) < 6 {
		return plan{}, errors.New("too few fields")
	}
	var numbers [4]int64
	for i := range numbers {
		n, err := strconv.ParseInt(fields[2+i], 10, 64)
		if err != nil {
			return plan{}, err
		}
		numbers[i] = n
	}
	args := int(numbers[3])
	if args > len(fields)-6 {
		return plan{}, errors.New("too few arguments")
	}
	return plan{
		Path: fields[0], Dir: fields[1],
		Limits: Limits{OpenFiles: numbers[0], CPU: time.Duration(numbers[1]) * time.Second, CoreBytes: numbers[2]},
		Args:   fields[6 : 6+args], Env: fields[6+args:],
	}, nil
}

// report is what a supervisor says.
type report struct {
	Kind, Stage  byte
	Value        uint32
	Left         uint32 // processes that could not be killed
	User, System int64  // nanoseconds
	MaxRSS       int64  // bytes
}

func (r report) encode() []byte {
	b := []byte{r.Kind, r.Stage}
	b = binary.LittleEndian.AppendUint32(b, r.Value)
	b = binary.LittleEndian.AppendUint32(b, r.Left)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.User))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.System))
	return binary.LittleEndian.AppendUint64(b, uint64(r.MaxRSS))
}

func readReport(from io.Reader) (report, error) {
	var b [34]byte
	if _, err := io.ReadFull(from, b[:]); err != nil {
		return report{}, err
	}
	return report{
		Kind: b[0], Stage: b[1],
		Value: binary.LittleEndian.Uint32(b[2:]), Left: binary.LittleEndian.Uint32(b[6:]),
		User:   int64(binary.LittleEndian.Uint64(b[10:])),
		System: int64(binary.LittleEndian.Uint64(b[18:])),
		MaxRSS: int64(binary.LittleEndian.Uint64(b[26:])),
	}, nil
}

// use fills in what all processes of the tree that were waited for have used.
func (r *report) use() {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_CHILDREN, &ru) == nil {
		r.User, r.System, r.MaxRSS = ru.Utime.Nano(), ru.Stime.Nano(), ru.Maxrss*1024
	}
}

func (r report) usage() Usage {
	return Usage{User: time.Duration(r.User), System: time.Duration(r.System), MaxRSS: r.MaxRSS}
}
