/* Small models for the tests' own FMUs. MODEL picks one, BAD what is wrong with it.
 *
 * A variable is known by its value reference alone; `get` and `set` see every number as a double. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TANK 1 /* d level/dt = (inflow + extra - outflow level) / area, solved exactly in co-simulation */
#define BALL 2 /* falls and bounces: state events */
#define STAIR 3 /* no states; counts at every second: time events */
#define POL 4 /* van der Pol's oscillator */
#define STATELESS 5 /* y = 2 u */

#define SEGV 1
#define LOOP 2
#define GREEDY 3 /* takes memory for ever */
#define EMPTY 4 /* takes memory it does not touch, then writes to where there is none */
#define QUIT 5
#define CHATTER 6 /* says a lot on its standard output */
#define FAIL 7 /* returns an error, with a message */
#define END 8 /* asks for the end of the simulation */
#define HALF 9 /* gets half of each step done */

#ifndef BAD
#define BAD 0
#endif
#ifndef SINCE
#define SINCE 5 /* seconds until it goes bad */
#endif

typedef struct {
    double t, x[2], dx[2], p[2], u[4], next, count, steps;
    char note[32];
} Model;

static void start(Model *m) {
    memset(m, 0, sizeof *m);
    m->next = INFINITY;
#if MODEL == TANK
    m->x[0] = 1;
    m->p[0] = 2, m->p[1] = 0.5;
#elif MODEL == BALL
    m->x[0] = 1;
    m->p[0] = 9.81, m->p[1] = 0.7;
#elif MODEL == STAIR
    m->next = 1;
#elif MODEL == POL
    m->x[0] = 2;
    m->p[0] = 1;
#elif MODEL == STATELESS
    m->u[0] = 3;
#endif
}

static int nx(void) { return MODEL == TANK ? 1 : MODEL == BALL || MODEL == POL ? 2 : 0; }
static int nz(void) { return MODEL == BALL; }

static void rates(Model *m) {
#if MODEL == TANK
    m->dx[0] = (m->u[0] + m->u[2] + m->u[3] - (m->u[1] ? 0 : m->p[1]) * m->x[0]) / m->p[0];
#elif MODEL == BALL
    m->dx[0] = m->x[1], m->dx[1] = -m->p[0];
#elif MODEL == POL
    m->dx[0] = m->x[1], m->dx[1] = m->p[0] * (1 - m->x[0] * m->x[0]) * m->x[1] - m->x[0];
#endif
}

/* 1, 2 states; 3, 4 their derivatives; 5, 6 parameters; 7 inflow, 8 shut; 9 flow; 10 count; 11 extra[2]; 12 both[2];
 * 13 steps */
static int size(unsigned v) { return v == 11 || v == 12 ? 2 : 1; }
static double get(Model *m, unsigned v, int i) {
    rates(m);
    switch (v) {
    case 0: return m->t;
    case 1: case 2: return m->x[v - 1];
    case 3: case 4: return m->dx[v - 3];
    case 5: case 6: return m->p[v - 5];
    case 7: case 8: return m->u[v - 7];
    case 9: return MODEL == STATELESS ? 2 * m->u[0] : m->p[1] * m->x[0];
    case 10: return m->count;
    case 11: return m->u[2 + i];
    case 12: return i ? m->p[1] * m->x[0] : m->x[0];
    default: return m->steps;
    }
}
static void set(Model *m, unsigned v, int i, double value) {
    if (v == 1 || v == 2) m->x[v - 1] = value;
    if (v == 5 || v == 6) m->p[v - 5] = value;
    if (v == 7 || v == 8) m->u[v - 7] = value;
    if (v == 11) m->u[2 + i] = value;
}

static double indicator(Model *m) { return m->x[0] == 0 && m->x[1] == 0 ? 1 : m->x[0]; }
/* An event is due or not: this is asked at each. Whether states have jumped. */
static int event(Model *m) {
#if MODEL == BALL
    if (m->x[0] <= 1e-9 && m->x[1] < 0) {
        m->x[0] = 0, m->x[1] *= -m->p[1];
        m->count++;
        return 1;
    }
#elif MODEL == STAIR
    if (m->t >= m->next - 1e-9) m->count++, m->next += 1;
#endif
    return 0;
}

/* Whether it went wrong in a way that it knows of. */
static int misbehave(Model *m) {
    if (!BAD || m->t < SINCE) return 0;
#if BAD == SEGV
    *(volatile int *)8 = 1;
#elif BAD == LOOP
    for (volatile int i = 0;; i++) {}
#elif BAD == GREEDY
    for (;;) {
        char *more = malloc(1 << 22);
        if (!more) return 1;
        memset(more, 1, 1 << 22);
    }
#elif BAD == EMPTY
    for (;;) {
        volatile char *more = malloc(1 << 26);
        more[0] = 1;
    }
#elif BAD == QUIT
    exit(3);
#elif BAD == CHATTER
    for (int i = 0; i < 20000; i++) printf("what nobody asked for\n");
    fflush(stdout);
#elif BAD == FAIL
    return 1;
#endif
    return 0;
}

static void advance(Model *m, double dt) {
#if MODEL == TANK
    double k = m->u[1] ? 0 : m->p[1], q = m->u[0] + m->u[2] + m->u[3];
    m->x[0] = k ? q / k + (m->x[0] - q / k) * exp(-k * dt / m->p[0]) : m->x[0] + q * dt / m->p[0];
#endif
    m->t += dt;
    m->steps++;
}
