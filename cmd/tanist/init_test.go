package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// asInit runs a shell script as the agent of a first process. signal, if not 0, is sent when the script has written a line.
func asInit(t *testing.T, script string, signal syscall.Signal) (output string, code int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), initMark+"="+script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := out.Read(buffer)
		text.Write(buffer[:n])
		if n > 0 && signal != 0 {
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			signal = 0
		}
		if err != nil {
			break
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return text.String(), cmd.ProcessState.ExitCode()
}

func TestInitReapsWhatOthersLeft(t *testing.T) {
	// The grandchild is left to the first process when its parent ends. Reaped, it is in no process list any more.
	const script = `
		(sh -c 'exec >/dev/null; read x </proc/sys/kernel/random/uuid' & echo $!) | { read orphan
		i=0; while [ -e /proc/$orphan ] && [ $i -lt 200 ]; do i=$((i+1)); sleep 0.05; done
		[ -e /proc/$orphan ] && echo "not reaped"; echo done; }; exit 7`
	output, code := asInit(t, script, 0)
	if output != "done\n" || code != 7 {
		t.Errorf("exit code %d, output %q", code, output)
	}
}

func TestInitPassesSignalsOn(t *testing.T) {
	const script = `trap 'echo told; kill $!; exit 5' TERM; sleep 60 >/dev/null & echo ready; wait`
	output, code := asInit(t, script, syscall.SIGTERM)
	if output != "ready\ntold\n" || code != 5 {
		t.Errorf("exit code %d, output %q", code, output)
	}
}

func TestInitTellsHowTheAgentDied(t *testing.T) {
	if _, code := asInit(t, "kill -9 $$", 0); code != 137 {
		t.Errorf("exit code %d", code)
	}
}
