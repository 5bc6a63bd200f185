package rest

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// discard is a response that costs nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// What a health check costs in the handler.
func BenchmarkHealth(b *testing.B) {
	for _, target := range []string{"/primary", "/replica?lag=1MB&tag_dc=seoul"} {
		b.Run(target, func(b *testing.B) {
			h := handlerFor(b, primary())
			r := httptest.NewRequest("GET", target, nil)
			w := discard{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
	}
}

// A load balancer's check over TCP: one connection each, bare answer.
func BenchmarkServerOptions(b *testing.B) {
	s := serve(b, handlerFor(b, primary()), TLS{})
	address := s.Addrs()[0].String()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		buf := make([]byte, 512)
		for pb.Next() {
			c, err := net.Dial("tcp", address)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.WriteString(c, "OPTIONS /primary HTTP/1.0\r\n\r\n")
			for err == nil {
				_, err = c.Read(buf)
			}
			// A reset instead of TIME_WAIT: the benchmark would run out of ports.
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	})
}

// A client that keeps its connection, with the JSON of the status.
func BenchmarkServerGetKeepAlive(b *testing.B) {
	s := serve(b, handlerFor(b, primary()), TLS{})
	address := "http://" + s.Addrs()[0].String() + "/primary"
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		client := http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		for pb.Next() {
			resp, err := client.Get(address)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}
