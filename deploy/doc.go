// Package deploy holds what runs servers elsewhere: an image, compose, Kubernetes, systemd. Its tests read these files and run
// the command lines in them. What they can't do without large dependencies, the module in the folder check does.
package deploy
