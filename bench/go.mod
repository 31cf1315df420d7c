module github.com/raftpico/go/bench

go 1.26

require (
	github.com/goccy/go-json v0.12.0
	github.com/raftpico/go v0.0.0
)

require (
	go.etcd.io/raft/v3 v3.7.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/raftpico/go => ../
