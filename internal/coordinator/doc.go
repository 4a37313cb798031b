// Package coordinator takes savepoints of a running job.
package coordinator
