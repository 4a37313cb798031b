package control

import (
	"fmt"

	"github.com/twmb/avro"
)

// resolves says whether values written with one schema can be read with the
// other by Avro's rules. kstate opens stores by the same rules: what passes
// here must not fail there.
func resolves(writer, reader string) error {
	if writer == reader {
		return nil
	}
	w, err := avro.Parse(writer)
	if err != nil {
		return fmt.Errorf("stored schema: %w", err)
	}
	r, err := avro.Parse(reader)
	if err != nil {
		return fmt.Errorf("schema of the job: %w", err)
	}
	_, err = avro.Resolve(w, r)
	return err
}
