package jsonrpc_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"github.com/goccy/go-json"

	"github.com/raftpico/go/jsonrpc"
)

// A server that answers every request with its params.
func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := jsonrpc.Server{Handler: jsonrpc.Handle(func(r *jsonrpc.Request) (any, error) { return r.Params, nil })}
	defer server.Close()
	go server.Serve(ln)

	client, err := jsonrpc.Dial(context.Background(), ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	var answer []string
	err = client.Call(context.Background(), "echo", []string{"hello"}, &answer)
	fmt.Println(answer, err)
	// Output: [hello] <nil>
}

// A handler that owns its requests answers them whenever it likes: here an event loop takes all that wait, and sends each
// connection's answers in one piece.
func ExampleServer_Handler() {
	calls := make(chan []jsonrpc.Call)
	go func() {
		sum := 0
		for batch := range calls {
			for i := range batch {
				var by []int
				if json.Unmarshal(batch[i].Params, &by) != nil || len(by) != 1 {
					batch[i].Fail(jsonrpc.ErrInvalidParams.Because("one number is needed"))
					continue
				}
				sum += by[0]
				batch[i].Result(fmt.Append(nil, sum))
			}
			batch[0].Conn().Flush()
		}
	}()
	server := jsonrpc.Server{Handler: func(batch []jsonrpc.Call) { calls <- batch }}
	defer close(calls)
	defer server.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(ln)

	client, err := jsonrpc.Dial(context.Background(), ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for _, params := range []string{"[1]", "[2]", "{}"} {
		result, err := client.CallRaw(context.Background(), "Add", json.RawMessage(params))
		fmt.Println(string(result), err)
	}
	// Output:
	// 1 <nil>
	// 3 <nil>
	//  Invalid params (code -32602): {"reason":"one number is needed"}
}
