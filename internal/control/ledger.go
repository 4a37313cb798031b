package control

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// ledger is what a View knows of savepoints.
type ledger struct {
	requests []Request // without a result, in the order in which they were asked
	attempts map[string]Attempt
	reports  map[string][]Report // by request; oldest first, one per worker
	results  map[string]Result
}

// apply takes a record of the four kinds of key.
//
// Requests, attempts and reports that cannot be read are passed over: the worst
// that follows is an attempt that times out. A result says what `latest` means,
// so it has to be understood.
func (l *ledger) apply(key string, value []byte) error {
	prefix, id, ok := strings.Cut(key, "/")
	if !ok {
		return nil
	}
	switch prefix + "/" {
	case prefixRequest:
		l.applyRequest(key, id, value)
	case prefixAttempt:
		l.applyAttempt(key, id, value)
	case prefixReport:
		l.applyReport(key, id, value)
	case prefixResult:
		return l.applyResult(key, id, value)
	}
	return nil
}

func (l *ledger) applyRequest(key, id string, value []byte) {
	at := slices.IndexFunc(l.requests, func(r Request) bool { return r.ID == id })
	if value == nil {
		if at >= 0 {
			l.requests = slices.Delete(slices.Clone(l.requests), at, at+1)
		}
		return
	}
	r, err := decode[Request](key, value)
	if _, answered := l.results[id]; answered || at >= 0 || err != nil || r.ID != id {
		return
	}
	l.requests = append(slices.Clip(l.requests), r)
}

// applyAttempt keeps the highest attempt, and of that one the last step: a
// coordinator that was asleep changes nothing (P14).
func (l *ledger) applyAttempt(key, id string, value []byte) {
	if value == nil {
		delete(l.attempts, id)
		return
	}
	a, err := decode[Attempt](key, value)
	if _, answered := l.results[id]; answered || err != nil || a.Request != id {
		return
	}
	had, ok := l.attempts[id]
	late := a.Attempt < had.Attempt ||
		a.Attempt == had.Attempt && (a.Coordinator != had.Coordinator || a.Step <= had.Step)
	if ok && late {
		return
	}
	if l.attempts == nil {
		l.attempts = make(map[string]Attempt)
	}
	l.attempts[id] = a
}

func (l *ledger) applyReport(key, tail string, value []byte) {
	id, worker, ok := strings.Cut(tail, "/")
	if !ok {
		return
	}
	r, err := decode[Report](key, value)
	if _, answered := l.results[id]; value != nil && (answered || err != nil || r.Request != id || r.Worker != worker) {
		return
	}
	others := slices.DeleteFunc(slices.Clone(l.reports[id]), func(r Report) bool { return r.Worker == worker })
	if value != nil {
		others = append(others, r)
	}
	if len(others) == 0 {
		delete(l.reports, id)
		return
	}
	if l.reports == nil {
		l.reports = make(map[string][]Report)
	}
	l.reports[id] = others
}

// applyResult ends everything about a request. A tombstone means that the
// savepoint was removed.
func (l *ledger) applyResult(key, id string, value []byte) error {
	if value == nil {
		delete(l.results, id)
		return nil
	}
	r, err := decode[Result](key, value)
	if err != nil {
		return err
	}
	if l.results == nil {
		l.results = make(map[string]Result)
	}
	l.results[id] = r
	l.requests = slices.DeleteFunc(slices.Clone(l.requests), func(r Request) bool { return r.ID == id })
	delete(l.attempts, id)
	delete(l.reports, id)
	return nil
}

// clone copies the maps; what is in them is never changed.
func (l *ledger) clone() ledger {
	return ledger{
		requests: l.requests,
		attempts: maps.Clone(l.attempts),
		reports:  maps.Clone(l.reports),
		results:  maps.Clone(l.results),
	}
}

// Requests are the requests without a result, in the order of asking, those of
// earlier runs among them.
func (v *View) Requests() []Request { return slices.Clone(v.savepoints.requests) }

// Attempt is the attempt that is under way in the run that is current; false if
// there is none, or the job does not run.
func (v *View) Attempt() (Attempt, bool) {
	if v.state.State != Running {
		return Attempt{}, false
	}
	for _, r := range v.savepoints.requests {
		if a, ok := v.savepoints.attempts[r.ID]; ok && a.Run == v.state.Run {
			return a, true
		}
	}
	return Attempt{}, false
}

// Reports are the workers' reports on an attempt at a request: the latest of
// each worker, the oldest of them first.
func (v *View) Reports(request string, attempt int) []Report {
	var found []Report
	for _, r := range v.savepoints.reports[request] {
		if r.Attempt == attempt {
			found = append(found, r)
		}
	}
	return found
}

// Result is the answer to a request; false while there is none.
func (v *View) Result(id string) (Result, bool) {
	r, ok := v.savepoints.results[id]
	return r, ok
}

// Results are all answers, the first that was finished first.
func (v *View) Results() []Result {
	return slices.SortedFunc(maps.Values(v.savepoints.results), func(a, b Result) int {
		if c := a.Finished.Compare(b.Finished); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}

// LastSaved is the savepoint that was saved last: what `latest` means (P14).
func (v *View) LastSaved() (last Result, ok bool) {
	for _, r := range v.Results() {
		if r.Saved {
			last, ok = r, true
		}
	}
	return last, ok
}

// Revisions are the revisions of all generations, the oldest first.
func (v *View) Revisions() []Revision {
	return slices.SortedFunc(maps.Values(v.revisions), func(a, b Revision) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Revision, b.Revision))
	})
}

// Saved reports whether a savepoint has a SAVED record: whether it counts, for
// `latest` and in lists (P14).
func (v *View) Saved(id string) bool { return v.savepoints.results[id].Saved }
