/* rdrand and rdseed in a library that is mapped from a file, for random_instruction.py. */
#include <immintrin.h>

int rdrand16(unsigned short *value) { return _rdrand16_step(value); }
int rdrand32(unsigned *value) { return _rdrand32_step(value); }
int rdrand64(unsigned long long *value) { return _rdrand64_step(value); }
int rdseed64(unsigned long long *value) { return _rdseed64_step(value); }

unsigned long long rdrand_many(int count)
{
    unsigned long long sum = 0, value = 0;
    for (int i = 0; i < count; i++)
        sum += _rdrand64_step(&value) ? value : 1;
    return sum;
}
