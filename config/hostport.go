package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/tanist-ha/tanist/internal/redact"
)

// HostPort is an address. The zero value is none.
type HostPort struct {
	Host string // without the brackets of IPv6
	Port int
}

// ParseHostPort splits HOST:PORT at the last colon. IPv6 addresses may stand in brackets, and must where no port
// follows. port is used where none is written; 0 demands one.
func ParseHostPort(s string, port int) (HostPort, error) {
	host, text := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, text = s[:i], s[i+1:]
	}
	host = strings.TrimSpace(host)
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	if text != "" {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return HostPort{}, fmt.Errorf("port of %q: not a number", redact.Address(s))
		}
		port = n
	}
	if host == "" || strings.ContainsAny(host, " \t/") {
		return HostPort{}, fmt.Errorf("%q has no host", redact.Address(s))
	}
	if port < 1 || port > 65535 {
		return HostPort{}, fmt.Errorf("port of %q is not between 1 and 65535", redact.Address(s))
	}
	return HostPort{host, port}, nil
}

// String is HOST:PORT, with brackets around an IPv6 address; "" for none.
func (a HostPort) String() string {
	if a == (HostPort{}) {
		return ""
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}

// Loopback says whether only this machine can reach the address.
func (a HostPort) Loopback() bool {
	if a.Host == "localhost" {
		return true
	}
	ip := net.ParseIP(a.Host)
	return ip != nil && ip.IsLoopback()
}

// Wildcard says whether it stands for all addresses of the machine.
func (a HostPort) Wildcard() bool {
	ip := net.ParseIP(a.Host)
	return a.Host == "*" || ip != nil && ip.IsUnspecified()
}
