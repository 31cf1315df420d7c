// Package idclient takes ids from an ids service: the numbers of a named sequence, or ULIDs.
//
//	ids, err := idclient.New("orders", 1000, "127.0.0.1:4100", "127.0.0.1:4101", "127.0.0.1:4102")
//	...
//	defer ids.Close()
//	for id := range ids.Stream() {
//		...
//	}
//
// A client fetches ids in blocks and keeps them in a buffer. It fetches the next block when half of one is used, so that
// ids are ready when they are asked for. While a block is used up before the next one has come, blocks are four times as large:
// a block takes a round trip, whatever its size. [Client.Next] takes one from the buffer in some nanoseconds; [Client.Stream] is a
// channel of them, and takes longer.
//
// # What is certain
//
//   - No id is given out twice: to nobody, whatever crashes.
//   - A client's ids grow. Whoever calls Next after another call has returned gets a greater one.
//   - If nobody else uses the name, a client's ids have no gaps. Servers that crash and answers that are lost change nothing:
//     a block is asked for again in the same session of package client, and given once. There is one exception: nobody can
//     know what became of a block if the session has ended meanwhile, since no server could be reached for an hour.
//
// Clients of the same name share its sequence block by block. So the ids of two clients are not in the order in which they are
// taken. Whoever needs that asks for each by a request of its own (NextID), with package client. A client that ends has ids
// left in its buffer, and nobody gets them: two blocks at most, and as many as the channel of Stream holds.
//
// # Errors
//
// A client tries until it has ids: servers may be away for any time. Next waits until its context ends, and its error
// then tells what went wrong meanwhile. Who reads from Stream asks [Client.Err]. Only an error that will never pass ends a
// client, such as that of a sequence that is used up. Then Next returns it, the channel is closed, and Err tells.
package idclient
