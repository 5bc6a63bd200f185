package pgxdriver_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/pgxdriver"
)

// What a server says, be it at the first contact, is an error with a code. This server is starting up.
func Example() {
	connector := pgxdriver.Connector{Dial: startingServer}
	_, err := connector.Connect(context.Background(), postgres.ConnectParams{
		Conninfo: postgres.Conninfo{"host": "db1", "user": "postgres", "password": "secret", "dbname": "postgres", "sslmode": "disable"},
		Session:  map[string]string{"application_name": "example"},
	})
	fmt.Println(err)

	var said *postgres.ServerError
	if errors.As(err, &said) && said.Code == postgres.CodeCannotConnectNow {
		fmt.Println("it lives, but does not let us in yet")
	}
	// Output:
	// connect to host=db1 user=postgres dbname=postgres: FATAL: the database system is starting up (SQLSTATE 57P03)
	// it lives, but does not let us in yet
}

// startingServer is a server in memory that answers any client as one does that starts up.
func startingServer(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		hello := make([]byte, 1024)
		_, _ = server.Read(hello)
		fields := "SFATAL\x00C57P03\x00Mthe database system is starting up\x00\x00"
		answer := binary.BigEndian.AppendUint32([]byte{'E'}, uint32(4+len(fields)))
		_, _ = server.Write(append(answer, fields...))
	}()
	return client, nil
}
