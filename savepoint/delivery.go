package savepoint

import (
	"fmt"
	"path"

	"github.com/go-json-experiment/json"
)

// Delivery is what one task has for the manifest.
type Delivery struct {
	Task  Task   `json:"task"`  // where it stood at the cut
	Parts []Part `json:"parts"` // one for each of its stores
}

// Deliver puts a task's delivery into the attempt's directory, where the
// coordinator finds it by its SHA-256. With hundreds of partitions or thousands
// of files it would be too much for a message. It is not synced: after a crash
// the attempt is over.
func (a *Attempt) Deliver(d Delivery) (sha256 string, err error) {
	if err := a.failed(); err != nil {
		return "", err
	}
	data, err := json.Marshal(d)
	if err != nil {
		return "", a.fail(fmt.Errorf("encode a delivery: %w", err))
	}
	sha256 = sumOf(data)
	return sha256, a.fail(a.write(deliveryPath(sha256), data, false))
}

// Collect reads what a task has delivered.
func (a *Attempt) Collect(sha256 string) (d Delivery, err error) {
	if err := a.failed(); err != nil {
		return d, err
	}
	return d, a.fail(a.collect(sha256, &d))
}

func (a *Attempt) collect(sha256 string, d *Delivery) error {
	if !sha256RE.MatchString(sha256) {
		return fmt.Errorf("%w: delivery %q", ErrName, abbreviate(sha256))
	}
	data, err := readAll(a.loc.fs, path.Join(a.dir, deliveryPath(sha256)), maxManifestBytes)
	if err != nil {
		return err
	}
	if sumOf(data) != sha256 {
		return fmt.Errorf("%w: delivery %s", ErrDamaged, sha256)
	}
	return json.Unmarshal(data, d)
}

func deliveryPath(sha256 string) string { return path.Join(deliveriesName, sha256+".json") }
