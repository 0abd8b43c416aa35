package child

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	// Two marks that only spawn sets, and that the program never gets to see.
	marker    = "heimdall-supervisor"
	markerEnv = "HEIMDALL_SUPERVISOR"

	// How long a tree is killed again and again before it is given up.
	patience = 10 * time.Second

	socket = 3

	prSetChildSubreaper = 36
	sysCloseRange       = 436
	closeRangeCloexec   = 4
	waitAny             = 0
	waitExited          = 4
	waitNoReap          = 0x01000000
)

// init turns this process into a supervisor when it was executed as one. It must
// happen before main: a test binary would run its tests again otherwise. The two
// marks together can only come from spawn, and supervise never returns.
//
// The fewer packages this one imports, the earlier its turn comes among the init
// functions of the binary; the rest, a third of the time to start, never run.
func init() {
	if len(os.Args) > 0 && os.Args[0] == marker && os.Getenv(markerEnv) == "1" {
		// The program gets SIGKILL when the thread that started it ends, so that
		// must be the main one, which lives as long as the process.
		runtime.LockOSThread()
		supervise()
	}
}

// supervisor holds one tree of processes.
type supervisor struct {
	pid     int
	killing sync.Once
	// reaping keeps the pids of our children valid: none is reaped, and so none
	// reused, between being listed and being signaled.
	reaping sync.Mutex
	tree    tree
	status  syscall.WaitStatus // of the program
}

// supervise runs one program and ends this process. It leaves by syscall.Exit:
// hooks of the binary that we are a copy of are none of our business.
func supervise() {
	// Whatever the parent had open without close-on-exec stops here.
	syscall.RawSyscall(sysCloseRange, socket, uintptr(^uint32(0)), closeRangeCloexec)
	syscall.CloseOnExec(socket)
	plan, err := readPlan(wire{})
	if err != nil {
		syscall.Exit(125)
	}
	s := new(supervisor)
	if stage, err := s.start(plan); err != nil {
		errno, _ := err.(syscall.Errno)
		say(report{Kind: kindRefused, Stage: stage, Value: uint32(errno)})
		syscall.Exit(0)
	}
	say(report{Kind: kindStarted, Value: uint32(s.pid)})
	go s.listen()
	s.reap()
	s.end(0)
}

// start starts the program in a session of its own, so that nothing it does to
// its process group reaches us.
func (s *supervisor) start(p plan) (stage byte, err error) {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0, 0, 0, 0); errno != 0 {
		return stageReaper, errno
	}
	ignoreSignals()
	if err := setLimits(p.Limits); err != nil {
		return stageLimits, err
	}
	if p.Dir != "" {
		if err := syscall.Chdir(p.Dir); err != nil {
			return stageDir, err
		}
	}
	for try := 0; ; try++ {
		s.pid, err = syscall.ForkExec(p.Path, p.Args, &syscall.ProcAttr{
			Env:   p.Env,
			Files: []uintptr{0, 1, 2},
			Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
		})
		// Somebody may still hold a program open that was just written, be it only
		// a process between fork and exec.
		if err != syscall.ETXTBSY || try == 20 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err != nil {
		return stageExec, err
	}
	letGo()
	return 0, nil
}

// ignoreSignals leaves signals that were meant for the program to the program: a
// service manager sends them to everybody. Package os/signal would do it too but
// takes milliseconds; the program gets the default actions, as ForkExec resets
// every signal that the runtime handles.
func ignoreSignals() {
	action := [4]uint64{1} // SIG_IGN, whatever the layout of the rest
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
}

// letGo gives up the program's files and folder: whoever is at the other end of
// a pipe must see when the program closes it.
func letGo() {
	if null, err := syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0); err == nil {
		for fd := range 3 {
			_ = syscall.Dup3(null, fd, 0)
		}
		syscall.Close(null)
	}
	_ = syscall.Chdir("/")
}

func setLimits(l Limits) error {
	set := func(resource int, soft, hard uint64) error {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(resource, &now); err != nil {
			return err
		}
		hard = min(hard, now.Max)
		return syscall.Setrlimit(resource, &syscall.Rlimit{Cur: min(soft, hard), Max: hard})
	}
	if n := uint64(l.OpenFiles); n > 0 {
		n = max(n, 32) // we live under it too
		if err := set(syscall.RLIMIT_NOFILE, n, n); err != nil {
			return err
		}
	}
	if n := uint64(l.CPU / time.Second); n > 0 {
		if err := set(syscall.RLIMIT_CPU, n, n+5); err != nil {
			return err
		}
	}
	return set(syscall.RLIMIT_CORE, uint64(l.CoreBytes), uint64(l.CoreBytes))
}

// reap waits for every child, our own and adopted, until none is left: then the
// tree is empty, because an orphan anywhere in it becomes our child. What the
// program leaves behind at its end is killed.
func (s *supervisor) reap() {
	for {
		// Reaping is a step of its own, under the lock.
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, waitAny, 0, 0, waitExited|waitNoReap, 0, 0)
		if errno == syscall.ECHILD {
			return
		}
		s.reaping.Lock()
		var status syscall.WaitStatus
		pid, _ := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if pid == s.pid {
			s.status = status
			go s.kill()
		}
		s.reaping.Unlock()
	}
}

// listen carries out the orders of the parent. That it is gone is an order to
// kill.
func (s *supervisor) listen() {
	var order [1]byte
	for {
		if _, err := (wire{}).Read(order[:]); err != nil || order[0] == orderKill {
			s.kill()
			return
		}
		s.reaping.Lock()
		s.tree.terminate()
		s.reaping.Unlock()
	}
}

// kill kills again and again: reap ends this process when nothing is left.
func (s *supervisor) kill() {
	s.killing.Do(func() {
		deadline := time.Now().Add(patience)
		for pause := time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, 50*time.Millisecond) {
			s.reaping.Lock()
			s.tree.kill()
			s.reaping.Unlock()
			time.Sleep(pause)
		}
		s.reaping.Lock() // for good
		s.end(max(s.tree.size(), 1))
	})
}

// end reports the end of the program, how many processes are left, and exits.
func (s *supervisor) end(left int) {
	r := report{Kind: kindEnded, Value: uint32(s.status), Left: uint32(left)}
	r.use()
	say(r)
	syscall.Exit(0)
}

// say reports to the parent. Nobody listens when it is gone.
func say(r report) {
	_, _ = syscall.Write(socket, r.encode())
}

// wire reads the socket without the poller of package os.
type wire struct{}

func (wire) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(socket, p)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, syscall.EPIPE
		default:
			return n, nil
		}
	}
}
