package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"time"
)

// Content types, as Patroni sends them. The slices are shared by all answers and never changed.
var (
	typeJSON = []string{"application/json"}
	typeText = []string{"text/html"}
)

// The answers that are a status line. They are shared and never changed.
var (
	bareOK          = []byte("HTTP/1.0 200 OK\r\n\r\n")
	bareUnavailable = []byte("HTTP/1.0 503 Service Unavailable\r\n\r\n")
)

// bareTimeout bounds the write of a status line to a client that does not read.
const bareTimeout = 5 * time.Second

// bare answers with a status line and nothing else, and closes the connection: Patroni's answer to OPTIONS and HEAD, which
// checks of load balancers were written for. Where the connection cannot be taken over (HTTP/2, a test's recorder) it is an
// ordinary answer without a body.
func bare(w http.ResponseWriter, ok bool) {
	answer, code := bareUnavailable, http.StatusServiceUnavailable
	if ok {
		answer, code = bareOK, http.StatusOK
	}
	taker, can := w.(http.Hijacker)
	if !can {
		w.WriteHeader(code)
		return
	}
	conn, _, err := taker.Hijack()
	if err != nil {
		w.WriteHeader(code)
		return
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(bareTimeout)); err != nil {
		return
	}
	_, _ = conn.Write(answer) // a client that has gone needs no answer
}

// text answers with a sentence. The type is Patroni's.
func text(w http.ResponseWriter, code int, sentence string) {
	w.Header()["Content-Type"] = typeText
	w.WriteHeader(code)
	_, _ = io.WriteString(w, sentence)
}

// page answers with an error page that says why.
func page(w http.ResponseWriter, code int, why string) {
	w.Header()["Content-Type"] = typeText
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, "<!DOCTYPE HTML>\n<html lang=\"en\"><head><title>Error response</title></head><body>"+
		"<h1>Error response</h1><p>Error code: %d</p><p>Message: %s.</p></body></html>\n", code, html.EscapeString(why))
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, code int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		page(w, http.StatusInternalServerError, "encode the answer: "+err.Error())
		return
	}
	rawJSON(w, code, raw)
}

// rawJSON answers with a document that is JSON already.
func rawJSON(w http.ResponseWriter, code int, raw []byte) {
	w.Header()["Content-Type"] = typeJSON
	w.WriteHeader(code)
	_, _ = w.Write(raw)
}

// maxBody bounds what a client may send; the stores refuse larger values anyway.
const maxBody = 2 << 20

// readObject reads the request's body, which must be a JSON object with at least one key. If it is not, the answer has
// been given and ok is false.
func readObject(w http.ResponseWriter, r *http.Request) (raw []byte, ok bool) {
	if r.ContentLength < 0 || r.ContentLength == 0 && r.Header.Get("Content-Length") == "" {
		page(w, http.StatusLengthRequired, "Content-Length is missing")
		return nil, false
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		page(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit))
		return nil, false
	}
	if err != nil {
		page(w, http.StatusBadRequest, "read the body: "+err.Error())
		return nil, false
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		page(w, http.StatusBadRequest, "the body is not a JSON object: "+err.Error())
		return nil, false
	}
	if len(object) == 0 {
		page(w, http.StatusBadRequest, "the body is an empty JSON object")
		return nil, false
	}
	return raw, true
}
