// Package join decides how a server that belongs to no cluster comes to belong to one: whom it asks, and when it may create a
// cluster. It has no goroutine, clock, socket or chance. A driver asks what an [Asker] wants asked, and tells it the answers; a
// server keeps its [Promises].
//
// # Bootstrap
//
// Servers that were started with the same list of addresses create one cluster. Only the one whose address sorts first as a text
// may do it, the creator:
//
//  1. It asks all others whether they belong to a cluster, and tells the list.
//  2. When each has answered, with its instance, that it belongs to none and has the same list, it asks each to promise that
//     this instance of it creates this cluster.
//  3. When each has promised, the same instance as before, it creates the cluster: within [Fresh] of asking. Else it begins anew.
//
// Who has promised creates no cluster, joins no other one, and promises nothing to another instance, for [Hold]. So a creator that
// stood still in between, or whose file was lost meanwhile, can't create a second cluster beside that of its successor.
// [Hold] is far longer than [Fresh], and than a creation may take.
//
// NB: A promise is not durable. What it guards against is one process too many, not a server that starts anew.
package join

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	Fresh = 5 * time.Second // how long after the question a promise may be used
	Hold  = 5 * time.Minute // how long it binds who has given it
)

// Question is what a server that looks for a cluster asks another one.
type Question struct {
	Servers  []string `json:"servers"`           // all that are to be a cluster, sorted
	From     string   `json:"from"`              // the asker's address
	Instance string   `json:"instance"`          // of the asker's file
	Cluster  string   `json:"cluster_id"`        // that the asker would create
	Promise  bool     `json:"promise,omitempty"` // that the other one lets it
}

// Answer is what the other one says.
type Answer struct {
	Addr     string `json:"addr"`              // as it knows itself
	Instance string `json:"instance"`          // of its file
	Member   bool   `json:"member,omitempty"`  // it belongs to a cluster
	Removed  bool   `json:"removed,omitempty"` // it did, and never will again
	Promised bool   `json:"promised,omitempty"`
	Refusal  string `json:"refusal,omitempty"` // why it will be no part of this; empty: it may
}

// Promises are what one server has promised about a cluster to come. The zero value is of a server that was started for none.
type Promises struct {
	Servers []string // those that it was started with, sorted

	to      string // the instance that may create
	cluster string
	until   time.Duration
}

// Ask answers a question to a server that belongs to no cluster, at a time.
func (p *Promises) Ask(now time.Duration, q *Question) (promised bool, refusal string) {
	switch {
	case len(p.Servers) == 0:
		return false, "it was not started to create a cluster with others (bootstrap)"
	case !slices.Equal(p.Servers, q.Servers):
		return false, fmt.Sprintf("it was started with other servers: %s", strings.Join(p.Servers, ","))
	case !q.Promise:
		return false, ""
	case q.From != p.Servers[0]:
		return false, "only " + p.Servers[0] + " may create the cluster"
	case p.bound(now) && p.to != q.Instance: // NB: the same instance without a cluster has not created the one that it meant before
		return false, fmt.Sprintf("it has promised that the instance %s creates the cluster; that binds it for at most %v more, or until it is started anew",
			p.to, p.left(now))
	}
	p.to, p.cluster, p.until = q.Instance, q.Cluster, now+Hold
	return true, ""
}

// Binds tells why a server may not become a member of a cluster now, or "". An empty cluster is one that it would create itself.
func (p *Promises) Binds(now time.Duration, cluster string) string {
	if !p.bound(now) || p.cluster == cluster {
		return ""
	}
	return fmt.Sprintf("this server has promised that %s creates the cluster; that binds it for at most %v more, or until it is started anew",
		p.Servers[0], p.left(now))
}

func (p *Promises) bound(now time.Duration) bool { return p.to != "" && now < p.until }

// left is how long the promise still binds, in whole minutes: who asks again and again gets the same text, which is logged once.
func (p *Promises) left(now time.Duration) time.Duration {
	return (p.until - now + time.Minute - 1).Truncate(time.Minute)
}
