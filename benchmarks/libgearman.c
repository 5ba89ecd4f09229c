/* The C reference: the same work as the Python contestants, on libgearman.
 *
 *   libgearman PORT roundtrip N     N calls, one at a time
 *   libgearman PORT batch N         N calls submitted, then awaited
 *   libgearman PORT background N    N background jobs submitted
 *   libgearman PORT payload BYTES   a payload there and back, five times: the median
 *   libgearman PORT work N          a worker that leaves after N jobs (0: never)
 *
 * Prints the seconds that it took. Every answer is checked.
 */
#include <libgearman/gearman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FUNCTION "bench_add"
static const char arguments[] = "{\"a\":1,\"b\":2}";

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what, const char *why)
{
  fprintf(stderr, "%s: %s\n", what, why ? why : "");
  exit(1);
}

static void *add(gearman_job_st *job, void *context, size_t *size, gearman_return_t *ret)
{
  int a, b;
  char text[64];
  char *result = malloc(32);
  size_t length = gearman_job_workload_size(job);
  (void)context;
  if (length >= sizeof text)
    length = sizeof text - 1;
  memcpy(text, gearman_job_workload(job), length);
  text[length] = 0;
  if (sscanf(text, "{\"a\":%d,\"b\":%d", &a, &b) != 2)
    die("arguments", text);
  *size = (size_t)snprintf(result, 32, "%d", a + b);
  *ret = GEARMAN_SUCCESS;
  return result;
}

static void *echo(gearman_job_st *job, void *context, size_t *size, gearman_return_t *ret)
{
  void *result = malloc(*size = gearman_job_workload_size(job));
  (void)context;
  memcpy(result, gearman_job_workload(job), *size);
  *ret = GEARMAN_SUCCESS;
  return result;
}

static long completed;

static gearman_return_t on_complete(gearman_task_st *task)
{
  if (gearman_task_data_size(task) != 1 || *(const char *)gearman_task_data(task) != '3')
    die("answer", "not 3");
  completed++;
  return GEARMAN_SUCCESS;
}

static void work(in_port_t port, long jobs)
{
  gearman_worker_st *worker = gearman_worker_create(NULL);
  double start = 0;
  gearman_worker_add_server(worker, "127.0.0.1", port);
  gearman_worker_add_function(worker, FUNCTION, 0, add, NULL);
  gearman_worker_add_function(worker, "bench_echo", 0, echo, NULL);
  for (long done = 0; !jobs || done < jobs; done++) {
    if (done == 1)
      start = now(); /* connecting is not part of it */
    if (gearman_worker_work(worker) != GEARMAN_SUCCESS)
      die("work", gearman_worker_error(worker));
  }
  printf("%.9f\n", now() - start);
  gearman_worker_free(worker);
}

static int longer(const void *a, const void *b)
{
  return *(const double *)a > *(const double *)b;
}

static double payload(gearman_client_st *client, size_t bytes)
{
  char *sent = malloc(bytes);
  double took[5];
  memset(sent, 'x', bytes);
  for (int i = 0; i < 5; i++) {
    size_t size;
    gearman_return_t ret;
    double start = now();
    char *result = gearman_client_do(client, "bench_echo", NULL, sent, bytes, &size, &ret);
    took[i] = now() - start;
    if (ret != GEARMAN_SUCCESS || size != bytes || memcmp(result, sent, bytes))
      die("payload", gearman_client_error(client));
    free(result);
  }
  free(sent);
  qsort(took, 5, sizeof *took, longer);
  return took[2];
}

int main(int argc, char **argv)
{
  if (argc != 4)
    die("usage", "libgearman PORT roundtrip|batch|background|payload|work N");
  in_port_t port = (in_port_t)atoi(argv[1]);
  const char *mode = argv[2];
  long count = atol(argv[3]);
  gearman_return_t ret;

  if (!strcmp(mode, "work")) {
    work(port, count);
    return 0;
  }
  gearman_client_st *client = gearman_client_create(NULL);
  gearman_client_add_server(client, "127.0.0.1", port);
  gearman_client_set_complete_fn(client, on_complete);
  size_t size;
  /* One call first: connecting is not part of it. */
  free(gearman_client_do(client, FUNCTION, NULL, arguments, strlen(arguments), &size, &ret));
  if (ret != GEARMAN_SUCCESS)
    die("first call", gearman_client_error(client));

  if (!strcmp(mode, "payload")) {
    printf("%.9f\n", payload(client, (size_t)count));
    return 0;
  }
  double start = now();
  if (!strcmp(mode, "roundtrip")) {
    for (long i = 0; i < count; i++) {
      char *result = gearman_client_do(client, FUNCTION, NULL, arguments, strlen(arguments), &size, &ret);
      if (ret != GEARMAN_SUCCESS || size != 1 || *result != '3')
        die("call", gearman_client_error(client));
      free(result);
    }
  } else {
    int background = !strcmp(mode, "background");
    for (long i = 0; i < count; i++) {
      if (background)
        gearman_client_add_task_background(client, NULL, NULL, FUNCTION, NULL, arguments,
                                           strlen(arguments), &ret);
      else
        gearman_client_add_task(client, NULL, NULL, FUNCTION, NULL, arguments,
                                strlen(arguments), &ret);
      if (ret != GEARMAN_SUCCESS)
        die("add task", gearman_client_error(client));
    }
    if (gearman_client_run_tasks(client) != GEARMAN_SUCCESS)
      die("run tasks", gearman_client_error(client));
    if (!background && completed != count)
      die("batch", "answers are missing");
  }
  printf("%.9f\n", now() - start);
  gearman_client_free(client);
  return 0;
}
