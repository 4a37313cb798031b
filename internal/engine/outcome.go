package engine

// topicPartition names an input partition.
type topicPartition struct {
	topic     string
	partition int32
}

// outcome is what is known of a transaction after its end was asked for.
type outcome int

const (
	outcomeCommitted outcome = iota
	outcomeAborted           // known: the client goes on, overlays are dropped
	outcomeUnknown           // nobody knows: the client is rebuilt (T1)
)

func (o outcome) String() string {
	return [...]string{"committed", "aborted", "unknown"}[o]
}

// judgeAbort decides what became of a transaction of which End said neither
// "committed" nor an error (T1). That answer comes after a revocation, after a
// refused offset commit, and after an EndTxn whose result nobody knows. The
// offsets that the group holds tell them apart: before holds those from before
// the transaction, for the inputs still owned that it moved; now what the group
// answers, stable, afterwards.
//
// A transaction is atomic, so one input that did not move means aborted. With
// no input left to ask about, nothing of the transaction is kept here either
// way: all its tasks have gone.
func judgeAbort(before, now map[topicPartition]int64) outcome {
	for tp, offset := range before {
		held, ok := now[tp]
		if !ok {
			held = -1
		}
		if held == offset {
			return outcomeAborted
		}
	}
	if len(before) == 0 {
		return outcomeAborted
	}
	return outcomeUnknown
}
