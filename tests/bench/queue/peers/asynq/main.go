// Asynq doing the round of `scripts/bench queue`. One line of JSON says what happened.
//
//	asynq both|produce|work URL JOBS PRODUCERS PERMITS
//
// `both` produces and works in one process; `produce` and `work` are its halves. Asynq has no priority of a task: its way
// is a queue for each, with weights, here the three of its manual with the tasks in turn. A task that is done is removed.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
)

const (
	// An idle worker sleeps for half to one and a half of this; the default of 1 s would only measure that sleep.
	checkInterval = 5 * time.Millisecond
	settle        = 300 * time.Millisecond
	poll          = 2 * time.Millisecond
)

var (
	names   = []string{"critical", "default", "low"}
	weights = map[string]int{"critical": 6, "default": 3, "low": 1}
)

type order struct {
	mode                     string
	redis                    asynq.RedisConnOpt
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

func main() {
	began, ended, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "asynq:", err)
		os.Exit(1)
	}
	fmt.Printf("{\"began\":%.6f,\"ended\":%.6f}\n", began, ended)
}

func run(words []string) (began, ended float64, err error) {
	o, err := parse(words)
	if err != nil {
		return 0, 0, err
	}
	switch o.mode {
	case "both":
		return both(o)
	case "produce":
		began = now()
		err = offerAll(o)
		return began, now(), err
	case "work":
		began = now()
		consumer, err := start(o)
		if err != nil {
			return 0, 0, err
		}
		ended, err = consumer.finish()
		return began, ended, err
	default:
		return 0, 0, fmt.Errorf("no mode is called %q", o.mode)
	}
}

func parse(words []string) (order, error) {
	if len(words) < 5 {
		return order{}, fmt.Errorf("5 arguments are needed, not %d", len(words))
	}
	redis, err := asynq.ParseRedisURI(words[1])
	if err != nil {
		return order{}, err
	}
	var numbers [3]int
	for i := range numbers {
		if numbers[i], err = strconv.Atoi(words[2+i]); err != nil {
			return order{}, err
		}
	}
	client, ok := redis.(asynq.RedisClientOpt)
	if !ok {
		return order{}, fmt.Errorf("%s is not the address of one Redis", words[1])
	}
	// The default of ten connections per core would be fewer than the producers.
	client.PoolSize = max(numbers[1], numbers[2]) + 4
	return order{words[0], client, numbers[0], numbers[1], numbers[2]}, nil
}

func both(o order) (began, ended float64, err error) {
	consumer, err := start(o)
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(settle)
	began = now()
	if err := offerAll(o); err != nil {
		return 0, 0, err
	}
	ended, err = consumer.finish()
	return began, ended, err
}

// offerAll offers all tasks, each producer one after another.
func offerAll(o order) error {
	client := asynq.NewClient(o.redis)
	defer client.Close()
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
				if err := offer(client, number); err != nil {
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

func offer(client *asynq.Client, number int) error {
	body, err := json.Marshal(payload{
		Image:      "01939b5e-6f00-7000-8000-000000000001",
		Project:    "01939b5e-6f00-7000-8000-000000000002",
		Parameters: strings.Repeat("x", 70),
		Number:     number,
		Sent:       now(),
	})
	if err != nil {
		return err
	}
	_, err = client.Enqueue(asynq.NewTask("segment", body), asynq.Queue(names[number%3]), asynq.MaxRetry(3))
	return err
}

// consumer is a worker that does nothing with its tasks.
type consumer struct {
	server  *asynq.Server
	order   order
	started *atomic.Int64
}

func start(o order) (consumer, error) {
	started := new(atomic.Int64)
	server := asynq.NewServer(o.redis, asynq.Config{
		Concurrency:       o.permits,
		Queues:            weights,
		TaskCheckInterval: checkInterval,
		LogLevel:          asynq.ErrorLevel,
	})
	handler := func(context.Context, *asynq.Task) error {
		started.Add(1)
		return nil
	}
	return consumer{server, o, started}, server.Start(asynq.HandlerFunc(handler))
}

// finish returns the instant at which the last task had left the queue.
func (c consumer) finish() (float64, error) {
	for c.started.Load() < int64(c.order.jobs) {
		time.Sleep(poll)
	}
	inspector := asynq.NewInspector(c.order.redis)
	defer inspector.Close()
	for left := 1; left > 0; {
		left = 0
		for _, name := range names {
			info, err := inspector.GetQueueInfo(name)
			if err != nil {
				return 0, err
			}
			left += info.Active + info.Retry
		}
	}
	ended := now()
	c.server.Shutdown()
	return ended, nil
}

func now() float64 { return float64(time.Now().UnixNano()) / 1e9 }
