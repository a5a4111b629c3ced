"""rdtsc and rdtscp, executed as machine code in an anonymous mapping."""

from machine_code import function

JOIN = b"\x48\xc1\xe2\x20\x48\x09\xd0\xc3"  # shl rdx, 32; or rax, rdx; ret
rdtsc = function(b"\x0f\x31" + JOIN)
rdtscp = function(b"\x0f\x01\xf9" + JOIN)
processor = function(b"\x0f\x01\xf9\x89\xc8\xc3")  # rdtscp; mov eax, ecx; ret
# Sixteen times in a row, the differences or-ed together: a tight sequence of faults.
row = function(b"\x45\x31\xc0" + b"\x0f\x31\x41\x09\xc0" * 16 + b"\x44\x89\xc0\xc3")

previous = rdtsc()
rising = 0
for _ in range(200):
    first, second = rdtsc(), rdtscp()
    rising += previous < first < second
    previous = second
    print("~", first, second, second - first)
print(rising)
print("~", processor(), row())
