// Package motion is procd's first example, the motion alarm, in two versions:
// here in YAML, in the folder go in Go.
package motion

import _ "embed"

// V1 and V2 are the files motion-alarm-v1.yaml and motion-alarm-v2.yaml.
var (
	//go:embed motion-alarm-v1.yaml
	V1 string
	//go:embed motion-alarm-v2.yaml
	V2 string
)
