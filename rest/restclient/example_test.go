package restclient_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/rest/restclient"
)

// Ask the other members where they are, as an agent does before it races for the leader key.
func ExampleClient_Poll() {
	n2 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"state":"running","role":"replica","xlog":{"received_location":100663296,"replayed_location":100663200},"timeline":4}`)
	}))
	defer n2.Close()
	client, err := restclient.New(restclient.Options{Insecure: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	answers := client.Poll(context.Background(), []dcs.Member{
		{Name: "n2", Data: dcs.MemberData{APIURL: n2.URL + "/patroni"}},
		{Name: "n3"},
	})
	for _, a := range answers {
		fmt.Printf("%s: %s %q\n", a.Name, a.Position, a.Problem)
	}
	// Output:
	// n2: 0/6000000 on timeline 4 ""
	// n3: 0/0 on timeline 0 "its member key has no api_url"
}
