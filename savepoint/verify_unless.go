package savepoint

import (
	"context"
	"errors"
)

// VerifyUnless is [Savepoint.Verify], but for the bytes of those files of a native
// savepoint that skip names: a start has them already (P15). Names and sizes are
// compared of all.
func (s *Savepoint) VerifyUnless(ctx context.Context, skip func(p *Part, f File) bool, progress func(bytes int)) error {
	if s.manifest.Form != Native {
		return s.Verify(ctx, progress)
	}
	if err := checkFiles(ctx, s.fs, s.dir, s.name, s.manifest, manifestName); err != nil {
		return err
	}
	var errs []error
	if d := s.manifest.Definition; d != nil {
		errs = append(errs, s.verifyFile(ctx, ".", *d, progress))
	}
	for i := range s.manifest.Stores {
		for j := range s.manifest.Stores[i].Parts {
			p := &s.manifest.Stores[i].Parts[j]
			for _, f := range p.Files {
				if !skip(p, f) {
					errs = append(errs, s.verifyFile(ctx, partDir(p.UID, p.Partition), f, progress))
				}
			}
		}
	}
	return errors.Join(errs...)
}
