package main

import (
	"net"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

func TestServiceManagerIsTold(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	for _, tc := range []struct{ state, want string }{
		{readyState, `^READY=1$`},
		{reloadingState(), `^RELOADING=1\nMONOTONIC_USEC=[0-9]+$`},
		{stoppingState, `^STOPPING=1$`},
	} {
		notify(tc.state)
		if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 200)
		n, err := socket.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buffer[:n]); !regexp.MustCompile(tc.want).MatchString(got) {
			t.Errorf("got %q, want %s", got, tc.want)
		}
	}
}

func TestNobodyIsToldWithoutAServiceManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	notify(readyState) // must do nothing, and must not fail
}
