// River doing the round of `scripts/bench queue`. One line of JSON says what happened.
//
//	river prepare URL                                      makes its tables in an empty database
//	river both|produce|work URL JOBS PRODUCERS PERMITS
//
// `both` produces and works in one process; `produce` and `work` are its halves. Four priorities, all that River has, in
// turn. A job counts when its row says that it is completed.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	// The default of 100 ms bounds throughput to PERMITS per 100 ms.
	fetchCooldown     = time.Millisecond
	workerConnections = 32
	settle            = 500 * time.Millisecond
	poll              = 2 * time.Millisecond
)

type order struct {
	mode, url                string
	jobs, producers, permits int
}

// payload is about 230 bytes, as a job's references and parameters take.
type payload struct {
	Image      string  `json:"image"`
	Project    string  `json:"project"`
	Parameters string  `json:"parameters"`
	Number     int     `json:"number"`
	Sent       float64 `json:"sent"`
}

// Kind is the name of the job's type.
func (payload) Kind() string { return "segment" }

type worker struct {
	river.WorkerDefaults[payload]
	started *atomic.Int64
}

// Work does nothing but count.
func (w *worker) Work(context.Context, *river.Job[payload]) error {
	w.started.Add(1)
	return nil
}

func main() {
	began, ended, err := run(context.Background(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "river:", err)
		os.Exit(1)
	}
	fmt.Printf("{\"began\":%.6f,\"ended\":%.6f}\n", began, ended)
}

func run(ctx context.Context, words []string) (began, ended float64, err error) {
	began = now()
	if len(words) == 2 && words[0] == "prepare" {
		err = prepare(ctx, words[1])
		return began, now(), err
	}
	o, err := parse(words)
	if err != nil {
		return 0, 0, err
	}
	switch o.mode {
	case "both":
		return both(ctx, o)
	case "produce":
		err = offerAll(ctx, o)
		return began, now(), err
	case "work":
		consumer, err := start(ctx, o)
		if err != nil {
			return 0, 0, err
		}
		ended, err = consumer.finish(ctx)
		return began, ended, err
	default:
		return 0, 0, fmt.Errorf("no mode is called %q", o.mode)
	}
}

func parse(words []string) (order, error) {
	if len(words) < 5 {
		return order{}, fmt.Errorf("5 arguments are needed, not %d", len(words))
	}
	var numbers [3]int
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.Atoi(words[2+i]); err != nil {
			return order{}, err
		}
	}
	return order{words[0], words[1], numbers[0], numbers[1], numbers[2]}, nil
}

func prepare(ctx context.Context, url string) error {
	pool, err := connect(ctx, url, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

func both(ctx context.Context, o order) (began, ended float64, err error) {
	consumer, err := start(ctx, o)
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(settle)
	began = now()
	if err := offerAll(ctx, o); err != nil {
		return 0, 0, err
	}
	ended, err = consumer.finish(ctx)
	return began, ended, err
}

// offerAll inserts all jobs, each producer one after another.
func offerAll(ctx context.Context, o order) error {
	pool, err := connect(ctx, o.url, o.producers)
	if err != nil {
		return err
	}
	defer pool.Close()
	// What a client that only inserts notifies is spaced by the cooldown too.
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{FetchCooldown: fetchCooldown, Logger: quiet()})
	if err != nil {
		return err
	}
	var next atomic.Int64
	var producers sync.WaitGroup
	failed := make(chan error, o.producers)
	for range o.producers {
		producers.Go(func() {
			for {
				number := int(next.Add(1)) - 1
				if number >= o.jobs {
					return
				}
				if err := offer(ctx, client, number); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	producers.Wait()
	close(failed)
	return <-failed
}

func offer(ctx context.Context, client *river.Client[pgx.Tx], number int) error {
	body := payload{
		Image:      "01939b5e-6f00-7000-8000-000000000001",
		Project:    "01939b5e-6f00-7000-8000-000000000002",
		Parameters: strings.Repeat("x", 70),
		Number:     number,
		Sent:       now(),
	}
	_, err := client.Insert(ctx, body, &river.InsertOpts{Priority: 1 + number%4, MaxAttempts: 3})
	return err
}

type consumer struct {
	pool    *pgxpool.Pool
	client  *river.Client[pgx.Tx]
	order   order
	started *atomic.Int64
}

func start(ctx context.Context, o order) (consumer, error) {
	pool, err := connect(ctx, o.url, workerConnections)
	if err != nil {
		return consumer{}, err
	}
	started := new(atomic.Int64)
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{started: started})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		FetchCooldown: fetchCooldown,
		Logger:        quiet(),
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: o.permits}},
		Workers:       workers,
	})
	if err != nil {
		return consumer{}, err
	}
	return consumer{pool, client, o, started}, client.Start(ctx)
}

// finish returns the instant at which the row of the last job said that it is completed.
func (c consumer) finish(ctx context.Context) (float64, error) {
	for c.started.Load() < int64(c.order.jobs) {
		time.Sleep(poll)
	}
	for left := true; left; time.Sleep(poll) {
		const unfinished = "select exists (select from river_job where finalized_at is null)"
		if err := c.pool.QueryRow(ctx, unfinished).Scan(&left); err != nil {
			return 0, err
		}
	}
	ended := now()
	return ended, c.client.Stop(ctx)
}

func connect(ctx context.Context, url string, connections int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(connections)
	return pgxpool.NewWithConfig(ctx, config)
}

func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

func now() float64 { return float64(time.Now().UnixNano()) / 1e9 }
