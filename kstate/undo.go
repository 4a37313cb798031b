package kstate

// change is one key changed in this transaction, with what it was before.
type change[S any] struct {
	e     *Entry[S]
	value S // for types that are assigned or copied
	has   bool
	skip  bool   // nothing to tell the changelog
	enc   []byte // the new value encoded, set by Changes; nil: deleted
}

// saved is one key touched by the record at hand that was changed before in
// this transaction, with what it was before the record. For decoded types it is
// every key touched by the record.
type saved[S any] struct {
	e     *Entry[S]
	value S
	has   bool
	dirty bool
}

// extend grows a log by one element and returns its place. The element keeps
// what it held when the log was last cut, so that values copied into it reuse
// their memory.
func extend[T any](log []T) ([]T, *T) {
	if len(log) < cap(log) {
		log = log[:len(log)+1]
	} else {
		var zero T
		log = append(log, zero)
	}
	return log, &log[len(log)-1]
}

// BeginRecord starts a record: what Rollback undoes begins here.
func (s *Store[S]) BeginRecord() {
	s.nextRecord()
	if s.grown {
		s.grown = false
		s.evict(evictPerRecord)
	}
}

func (s *Store[S]) nextRecord() {
	s.record++
	s.recordLog = s.recordLog[:0]
	s.recordTxn = len(s.txn)
	s.copies = s.copies[:0]
}

// save remembers an entry's value before its first change in this record, by
// moving it to the log; the caller then writes e.value as a whole. A key
// changed for the first time in the transaction is saved there only: its place
// at the end of that log tells Rollback that the record changed it.
func (s *Store[S]) save(e *Entry[S]) {
	s.encoded = false
	if e.record == s.record {
		return
	}
	e.record = s.record
	if e.undo == 0 {
		var c *change[S]
		s.txn, c = extend(s.txn)
		c.e, c.has = e, e.has
		c.value, e.value = e.value, c.value
		e.undo = int32(len(s.txn))
		return
	}
	var r *saved[S]
	s.recordLog, r = extend(s.recordLog)
	r.e, r.has = e, e.has
	r.value, e.value = e.value, r.value
}

// touch notes that user code gets hold of a decoded type's value, which it may
// change in place from now on.
func (s *Store[S]) touch(e *Entry[S]) {
	if e.record == s.record {
		return
	}
	e.record = s.record
	var r *saved[S]
	s.recordLog, r = extend(s.recordLog)
	r.e, r.has, r.dirty = e, e.has, e.undo != 0
	if !e.lent {
		e.lent = true
		s.lent = append(s.lent, e)
	}
}

// change notes that a decoded type's entry changes in this transaction.
func (s *Store[S]) change(e *Entry[S]) {
	s.encoded = false
	if e.undo != 0 {
		return
	}
	var c *change[S]
	s.txn, c = extend(s.txn)
	c.e, c.has = e, e.has
	e.undo = int32(len(s.txn))
}

// Rollback undoes what happened since BeginRecord. It returns ErrIsolate,
// having done nothing, where the record touched a key that an earlier record of
// the transaction changed and whose type cannot be copied.
func (s *Store[S]) Rollback() error {
	if s.mode == decodes {
		if err := s.rollbackDecoded(); err != nil {
			return err
		}
	} else {
		for i := len(s.recordLog) - 1; i >= 0; i-- {
			r := &s.recordLog[i]
			r.e.value, r.value = r.value, r.e.value
			r.e.has = r.has
		}
	}
	s.undoTxn(s.recordTxn)
	s.encoded = false
	s.nextRecord()
	return nil
}

func (s *Store[S]) rollbackDecoded() error {
	for i := range s.recordLog {
		if s.recordLog[i].dirty {
			return ErrIsolate
		}
	}
	for i := range s.recordLog {
		s.forget(s.recordLog[i].e)
	}
	return nil
}

// undoTxn restores the entries of the transaction's log from the given place
// on to what is committed.
func (s *Store[S]) undoTxn(from int) {
	for i := from; i < len(s.txn); i++ {
		c := &s.txn[i]
		e := c.e
		e.has, e.undo = c.has, 0
		if s.mode == decodes {
			s.forget(e)
		} else {
			e.value, c.value = c.value, e.value
		}
	}
	s.txn = s.txn[:from]
}

// forget drops a decoded value, so that the next Get decodes the committed
// bytes afresh (P21).
func (s *Store[S]) forget(e *Entry[S]) {
	var zero S
	e.value = zero
	e.decoded = false
}

// takeBack ends the loan of decoded values at the end of a transaction.
func (s *Store[S]) takeBack() {
	for _, e := range s.lent {
		s.forget(e)
		e.lent = false
	}
	s.lent = s.lent[:0]
}
