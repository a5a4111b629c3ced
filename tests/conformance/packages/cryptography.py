"""OpenSSL's keys and chance."""

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import rsa

key = Fernet.generate_key()
print(Fernet(key).decrypt(Fernet(key).encrypt(b"a secret")))
print("~", rsa.generate_private_key(65537, 2048).private_numbers().p)
